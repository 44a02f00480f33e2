package pii

import "strings"

// vendorKey is the shape of a key by which its issuer can be known: a fixed text and what stands around it.
type vendorKey struct {
	prefix string   // as issued
	body   *byteSet // what follows
	min    int      // bytes of body
	max    int      // 0 is no limit; a longer run is no key
	back   int      // bytes of alphanumerics in front of prefix that belong to the key
	mixed  bool     // the body must hold digits and letters: the prefix alone also begins words
}

var (
	keyBody    = unionOf(wordSet, setOf("-"))
	keyDotBody = unionOf(wordSet, setOf("."), setOf("-"))
	b64Body    = unionOf(alnumSet, setOf("+/="))
	pathBody   = unionOf(wordSet, setOf("/"), setOf("-"))
	upperAlnum = unionOf(upperSet, digitSet)
	azureBody  = unionOf(wordSet, setOf(".~"), setOf("-"))
)

// vendorKeys follows the issuers' documentation of their formats.
var vendorKeys = []vendorKey{
	// Clouds.
	{prefix: "AKIA", body: &upperAlnum, min: 16, max: 16},
	{prefix: "ASIA", body: &upperAlnum, min: 16, max: 16},
	{prefix: "ABIA", body: &upperAlnum, min: 16, max: 16},
	{prefix: "ACCA", body: &upperAlnum, min: 16, max: 16},
	{prefix: "ABSK", body: &b64Body, min: 100},
	{prefix: "AIza", body: &keyBody, min: 35},
	{prefix: "GOCSPX-", body: &keyBody, min: 24},
	{prefix: "ya29.", body: &keyDotBody, min: 20},
	{prefix: "AccountKey=", body: &b64Body, min: 40},
	{prefix: "SharedAccessKey=", body: &b64Body, min: 40},
	{prefix: "8Q~", body: &azureBody, min: 31, max: 40, back: 3},
	{prefix: "dop_v1_", body: &lowHexSet, min: 64},
	{prefix: "doo_v1_", body: &lowHexSet, min: 64},
	{prefix: "dor_v1_", body: &lowHexSet, min: 64},
	{prefix: "v1.0-", body: &keyBody, min: 100},
	{prefix: "LTAI", body: &alnumSet, min: 16, max: 24, mixed: true},
	// Code hosting, packages, CI.
	{prefix: "ghp_", body: &wordSet, min: 36},
	{prefix: "gho_", body: &wordSet, min: 36},
	{prefix: "ghu_", body: &wordSet, min: 36},
	{prefix: "ghs_", body: &wordSet, min: 36},
	{prefix: "ghr_", body: &wordSet, min: 36},
	{prefix: "github_pat_", body: &wordSet, min: 40},
	{prefix: "glpat-", body: &keyDotBody, min: 20},
	{prefix: "gldt-", body: &keyBody, min: 20},
	{prefix: "glrt-", body: &keyDotBody, min: 20},
	{prefix: "glptt-", body: &keyBody, min: 40},
	{prefix: "glcbt-", body: &keyBody, min: 20},
	{prefix: "npm_", body: &alnumSet, min: 36, max: 36},
	{prefix: "pypi-AgEI", body: &keyBody, min: 50},
	{prefix: "rubygems_", body: &lowHexSet, min: 48},
	{prefix: "dckr_pat_", body: &keyBody, min: 27},
	{prefix: "dckr_oat_", body: &keyBody, min: 27},
	{prefix: "ATATT3", body: &b64Dash, min: 60},
	{prefix: ".atlasv1.", body: &b64Dash, min: 60, back: 14},
	{prefix: "AGE-SECRET-KEY-1", body: &upperAlnum, min: 50},
	{prefix: "xprv9", body: &alnumSet, min: 100},
	{prefix: "hvs.", body: &keyBody, min: 24},
	{prefix: "hvb.", body: &keyBody, min: 24},
	{prefix: "AGE-SECRET-KEY-1", body: &upperAlnum, min: 58},
	{prefix: "dp.pt.", body: &alnumSet, min: 40},
	{prefix: "dp.st.", body: &keyDotBody, min: 40},
	// Talk and mail.
	{prefix: "xoxb-", body: &keyBody, min: 10, mixed: true},
	{prefix: "xoxp-", body: &keyBody, min: 10, mixed: true},
	{prefix: "xoxa-", body: &keyBody, min: 10, mixed: true},
	{prefix: "xoxr-", body: &keyBody, min: 10, mixed: true},
	{prefix: "xoxs-", body: &keyBody, min: 10, mixed: true},
	{prefix: "xoxe-", body: &keyBody, min: 10, mixed: true},
	{prefix: "xapp-", body: &keyBody, min: 20, mixed: true},
	{prefix: "hooks.slack.com/services/", body: &pathBody, min: 24},
	{prefix: "hooks.slack.com/workflows/", body: &pathBody, min: 24},
	{prefix: "discord.com/api/webhooks/", body: &pathBody, min: 40},
	{prefix: "discordapp.com/api/webhooks/", body: &pathBody, min: 40},
	{prefix: ":AA", body: &b64URLSet, min: 30, max: 40, back: 10},
	{prefix: "SG.", body: &keyDotBody, min: 60, max: 70},
	{prefix: "key-", body: &lowHexSet, min: 32, max: 32},
	{prefix: "SK", body: &lowHexSet, min: 32, max: 32},
	// Payment and shops.
	{prefix: "sk_live_", body: &alnumSet, min: 16},
	{prefix: "rk_live_", body: &alnumSet, min: 16},
	{prefix: "sk_test_", body: &alnumSet, min: 16},
	{prefix: "rk_test_", body: &alnumSet, min: 16},
	{prefix: "whsec_", body: &b64Body, min: 24},
	{prefix: "sq0atp-", body: &keyBody, min: 22},
	{prefix: "sq0csp-", body: &keyBody, min: 40},
	{prefix: "access_token$production$", body: &braintree, min: 40},
	{prefix: "shpat_", body: &hexSet, min: 32, max: 32},
	{prefix: "shpca_", body: &hexSet, min: 32, max: 32},
	{prefix: "shppa_", body: &hexSet, min: 32, max: 32},
	{prefix: "shpss_", body: &hexSet, min: 32, max: 32},
	// Language models.
	{prefix: "sk-ant-", body: &keyBody, min: 20, mixed: true},
	{prefix: "sk-proj-", body: &keyBody, min: 20, mixed: true},
	{prefix: "sk-svcacct-", body: &keyBody, min: 20, mixed: true},
	{prefix: "sk-admin-", body: &keyBody, min: 20, mixed: true},
	{prefix: "sk-or-v1-", body: &lowHexSet, min: 64},
	{prefix: "sk-", body: &alnumSet, min: 20, mixed: true},
	{prefix: "hf_", body: &alnumSet, min: 34, max: 34},
	{prefix: "gsk_", body: &alnumSet, min: 48},
	{prefix: "r8_", body: &alnumSet, min: 37, max: 37},
	{prefix: "pplx-", body: &alnumSet, min: 40},
	// Observability and other services.
	{prefix: "glsa_", body: &wordSet, min: 40},
	{prefix: "glc_", body: &b64Body, min: 32},
	{prefix: "NRAK-", body: &upperAlnum, min: 27, max: 27},
	{prefix: "sntrys_", body: &b64Word, min: 40},
	{prefix: "sntryu_", body: &lowHexSet, min: 64},
	{prefix: "PMAK-", body: &keyBody, min: 50},
	{prefix: "dapi", body: &lowHexSet, min: 32, max: 32},
	{prefix: "lin_api_", body: &alnumSet, min: 40},
	{prefix: "figd_", body: &keyBody, min: 40},
	{prefix: "secret_", body: &alnumSet, min: 43, max: 43},
	{prefix: "ntn_", body: &alnumSet, min: 40},
	{prefix: "pat-na1-", body: &keyBody, min: 36},
	{prefix: "pat-eu1-", body: &keyBody, min: 36},
	{prefix: "sk.eyJ", body: &keyDotBody, min: 60},
	{prefix: "EAACEdEose0cBA", body: &alnumSet, min: 20},
	{prefix: "phx_", body: &alnumSet, min: 40},
	{prefix: "tskey-", body: &keyBody, min: 20, mixed: true},
}

var (
	b64Dash   = unionOf(keyBody, setOf("="))
	b64Word   = unionOf(wordSet, setOf("+/="))
	braintree = unionOf(alnumSet, setOf("$"))
)

// armVendorKeys looks for every shape of vendorKeys.
func armVendorKeys(b *builder, r *rule) {
	for i := range vendorKeys {
		k := &vendorKeys[i]
		g := gramOf(k.prefix, false)
		for j := len(k.prefix); j < gramLen; j++ {
			g[j] = *k.body
		}
		b.on(r, g, func(sc *Scanner, s string, at int) { sc.vendorKey(r, k, s, at) })
	}
}

func (sc *Scanner) vendorKey(r *rule, k *vendorKey, s string, at int) {
	if !strings.HasPrefix(s[at:], k.prefix) {
		return
	}
	start := at
	for start > 0 && at-start < k.back && alnumSet.has(s[start-1]) {
		start--
	}
	if k.back > 0 {
		// Telegram's bot numbers have eight to ten digits, the others a fixed number of characters.
		if at-start < min(k.back, 8) {
			return
		}
	} else if alnumSet.has(k.prefix[0]) && insideWord(s, at) {
		return // inside a word
	}
	begin := at + len(k.prefix)
	// Whether it is a key shows within a bound; many candidates may share a run.
	stop := min(len(s), begin+vendorLook)
	end := begin
	for end < stop && k.body.has(s[end]) {
		end++
	}
	sc.Examined += int64(end - start)
	for end > begin && s[end-1] == '.' {
		end--
	}
	n := end - begin
	if n < k.min || k.max > 0 && (n > k.max || end < len(s) && alnumSet.has(s[end])) {
		return
	}
	if k.mixed && !mixed(s[begin:end]) {
		return
	}
	for end >= stop && end < len(s) && k.body.has(s[end]) {
		end++
		sc.Examined++
	}
	sc.add(r, s, start, end)
	sc.skip = max(sc.skip, end)
}

// vendorLook is how much of a body is read to judge it.
const vendorLook = 256
