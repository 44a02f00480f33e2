package pii

// nationalID is a kind of national identifier. To add one, add a line.
type nationalID struct {
	name string
	// shape: 9 is a digit, A a capital letter, everything else itself.
	shape string
	// valid checks the number without separators: digits and letters only.
	valid func(id string) bool
}

// nationalIDs have a shape with separators or letters, or a check that few numbers pass by chance.
var nationalIDs = []nationalID{
	{"us_ssn", "999-99-9999", usSSN},
	{"us_ssn", "999 99 9999", usSSN},
	{"ca_sin", "999-999-999", luhnText},
	{"ca_sin", "999 999 999", luhnText},
	{"uk_nino", "AA999999A", ukNINO},
	{"uk_nino", "AA 99 99 99 A", ukNINO},
	{"de_tax_id", "99 999 999 999", deTaxID},
	{"fr_nir", "9 99 99 99 999 999 99", frNIR},
	{"fr_nir", "999999999999999", frNIR},
	{"es_dni", "99999999A", esDNI},
	{"es_dni", "99999999-A", esDNI},
	{"es_nie", "A9999999A", esNIE},
	{"it_cf", "AAAAAA99A99A999A", itCodiceFiscale},
	{"br_cpf", "999.999.999-99", brCPF},
	{"in_aadhaar", "9999 9999 9999", inAadhaar},
	{"pl_pesel", "99999999999", plPESEL},
	{"se_pnr", "999999-9999", sePersonnummer},
	{"fi_hetu", "999999-999A", fiHETU},
	{"fi_hetu", "999999-9999", fiHETU},
	{"cn_resident_id", "999999999999999999", cnResidentID},
	{"cn_resident_id", "99999999999999999A", cnResidentID},
}

func armNationalIDs(b *builder, r *rule) {
	b.rules.nationalIDs = r
	b.rules.numericRules |= r.bit
	b.rules.leastNumber = min(b.rules.leastNumber, 100_000_000)
	for i := range nationalIDs {
		id := &nationalIDs[i]
		var g gram
		for j := range g {
			g[j] = shapeSet(id.shape[j])
		}
		b.on(r, g, func(sc *Scanner, s string, at int) { sc.nationalID(r, id, s, at) })
	}
}

func shapeSet(c byte) byteSet {
	switch c {
	case '9':
		return digitSet
	case 'A':
		return upperSet
	}
	return setOf(string(c))
}

func (sc *Scanner) nationalID(r *rule, id *nationalID, s string, at int) {
	end := at + len(id.shape)
	if end > len(s) || at > 0 && idNeighbour(s[at-1]) || end < len(s) && idNeighbour(s[end]) {
		return
	}
	var compact [24]byte
	n := 0
	for i := range id.shape {
		c := s[at+i]
		switch want := id.shape[i]; {
		case want == '9' && digitSet.has(c), want == 'A' && upperSet.has(c):
			compact[n] = c
			n++
		case want != c || want == '9' || want == 'A':
			return
		}
	}
	sc.Examined += int64(len(id.shape))
	if id.valid(string(compact[:n])) {
		sc.add(r, s, at, end)
	}
}

// idNeighbour reports whether a byte beside an identifier makes it part of something longer.
func idNeighbour(c byte) bool { return wordSet.has(c) || c == '-' || c == '.' }

func num(s string) int {
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// usSSN: areas 000, 666 and 900 up, group 00 and serial 0000 are not issued (SSA, POMS RM 10201.035).
func usSSN(s string) bool {
	area, group, serial := num(s[:3]), num(s[3:5]), num(s[5:])
	return area != 0 && area != 666 && area < 900 && group != 0 && serial != 0 && s != "078051120" && s != "123456789"
}

func luhnText(s string) bool {
	var d [24]byte
	for i := range len(s) {
		d[i] = s[i] - '0'
	}
	return s[0] != '8' && luhn(d[:len(s)])
}

// ukNINO: prefixes that are not allocated (HMRC, NIM39110).
func ukNINO(s string) bool {
	for _, c := range "DFIQUV" {
		if rune(s[0]) == c || rune(s[1]) == c {
			return false
		}
	}
	switch s[:2] {
	case "BG", "GB", "KN", "NK", "NT", "TN", "ZZ":
		return false
	}
	return s[1] != 'O' && s[8] >= 'A' && s[8] <= 'D'
}

// deTaxID: ISO 7064 MOD 11,10 over ten digits; the first is not 0.
func deTaxID(s string) bool {
	product := 10
	for i := range 10 {
		sum := (int(s[i]-'0') + product) % 10
		if sum == 0 {
			sum = 10
		}
		product = sum * 2 % 11
	}
	check := 11 - product
	if check == 10 {
		check = 0
	}
	return s[0] != '0' && check == int(s[10]-'0')
}

// frNIR: sex, year, month, department, and 97 minus the rest modulo 97.
func frNIR(s string) bool {
	month := num(s[3:5])
	return (s[0] == '1' || s[0] == '2') && month >= 1 && month <= 12 && 97-num(s[:13])%97 == num(s[13:])
}

const dniLetters = "TRWAGMYFPDXBNJZSQVHLCKE"

func esDNI(s string) bool { return dniLetters[num(s[:8])%23] == s[8] }

func esNIE(s string) bool {
	return s[0] >= 'X' && s[0] <= 'Z' && dniLetters[(int(s[0]-'X')*10_000_000+num(s[1:8]))%23] == s[8]
}

// itCodiceFiscale: the control character of the decree of 23 December 1976.
func itCodiceFiscale(s string) bool {
	values := [...]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}
	sum := 0
	for i := range 15 {
		v := int(s[i] - 'A')
		if s[i] <= '9' {
			v = int(s[i] - '0')
		}
		if i%2 == 0 {
			v = values[v]
		}
		sum += v
	}
	return int(s[15]-'A') == sum%26
}

// brCPF: two check digits modulo 11; equal digits are not issued.
func brCPF(s string) bool {
	same := true
	for i := range s {
		same = same && s[i] == s[0]
	}
	check := func(n int) int {
		sum := 0
		for i := range n {
			sum += int(s[i]-'0') * (n + 1 - i)
		}
		return sum * 10 % 11 % 10
	}
	return !same && check(9) == int(s[9]-'0') && check(10) == int(s[10]-'0')
}

// inAadhaar: Verhoeff's check; the first digit is 2 to 9.
func inAadhaar(s string) bool {
	c := 0
	for i := range len(s) {
		c = verhoeffD[c][verhoeffP[i%8][s[len(s)-1-i]-'0']]
	}
	return s[0] >= '2' && c == 0
}

var (
	verhoeffD = [10][10]int{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		{1, 2, 3, 4, 0, 6, 7, 8, 9, 5},
		{2, 3, 4, 0, 1, 7, 8, 9, 5, 6},
		{3, 4, 0, 1, 2, 8, 9, 5, 6, 7},
		{4, 0, 1, 2, 3, 9, 5, 6, 7, 8},
		{5, 9, 8, 7, 6, 0, 4, 3, 2, 1},
		{6, 5, 9, 8, 7, 1, 0, 4, 3, 2},
		{7, 6, 5, 9, 8, 2, 1, 0, 4, 3},
		{8, 7, 6, 5, 9, 3, 2, 1, 0, 4},
		{9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
	}
	verhoeffP = [8][10]int{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		{1, 5, 7, 6, 2, 8, 3, 0, 9, 4},
		{5, 8, 0, 3, 7, 9, 6, 1, 4, 2},
		{8, 9, 1, 6, 0, 4, 3, 5, 2, 7},
		{9, 4, 5, 3, 1, 2, 6, 8, 7, 0},
		{4, 2, 8, 6, 5, 7, 3, 9, 0, 1},
		{2, 7, 9, 3, 8, 0, 6, 4, 1, 5},
		{7, 0, 4, 6, 9, 1, 3, 2, 5, 8},
	}
)

// plPESEL: a date with the century in the month, and weights 1 3 7 9.
func plPESEL(s string) bool {
	month, day := num(s[2:4])%20, num(s[4:6])
	sum := 0
	for i, w := range []int{1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1} {
		sum += int(s[i]-'0') * w
	}
	return month >= 1 && month <= 12 && day >= 1 && day <= 31 && sum%10 == 0
}

func sePersonnummer(s string) bool {
	month, day := num(s[2:4]), num(s[4:6])
	var d [10]byte
	for i := range d {
		d[i] = s[i] - '0'
	}
	return month >= 1 && month <= 12 && day >= 1 && day <= 31 && luhn(d[:])
}

func fiHETU(s string) bool {
	day, month := num(s[:2]), num(s[2:4])
	return month >= 1 && month <= 12 && day >= 1 && day <= 31 && "0123456789ABCDEFHJKLMNPRSTUVWXY"[num(s[:9])%31] == s[9]
}

// cnResidentID: GB 11643, ISO 7064 MOD 11-2.
func cnResidentID(s string) bool {
	year, month, day := num(s[6:10]), num(s[10:12]), num(s[12:14])
	sum := 0
	for i, w := range []int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		sum += int(s[i]-'0') * w
	}
	return year >= 1900 && year < 2100 && month >= 1 && month <= 12 && day >= 1 && day <= 31 && "10X98765432"[sum%11] == s[17]
}
