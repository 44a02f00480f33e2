package conformance

import "strings"

// line is one line of the contract.
type line struct {
	id string
	// must and should are told apart in the contract only; both need a case. Others are nice to have or oddities.
	needed bool
}

// contract lists the lines of sections 0 to 3 and 8: those that must or should hold, and after a minus sign the others.
const contract = `
0    C-01 C-02 C-03 C-04 C-05 C-06 C-07 C-08 C-09 C-10 C-11 C-12 C-13 C-14 C-15 C-16 -C-17 C-18 C-20 C-21 C-22 C-23 C-24
1.1  H-01 H-02 H-03 -H-04 H-05 -H-06 -H-07 H-08
1.2  T-01 T-02 T-03 T-04 T-05 T-06 T-07 T-08 T-09
1.3  S-01 S-02 -S-03 S-04 S-05 S-06 S-07 -S-08 S-09
     S-20 S-21 S-22 S-23 S-24 S-25 S-26 S-27 S-28 S-29 S-30 S-31 S-32 S-33
1.4  G-01 G-02 G-03 G-04 G-05 G-06
1.5  V-01 V-02 V-03 V-04 V-05 V-06 V-07 V-08 V-09 G-20 G-20b G-21 G-22 G-23
1.6  M-01 M-02 M-03 M-04 M-05 M-06 M-10 M-11 M-12 M-13 M-14
1.7  -P-01
1.8  -O-01
1.9  -R-01
2    Q-01 Q-02 Q-03 Q-04 Q-05 Q-06 Q-07 Q-08 Q-09
3    A-01 A-02 A-03 A-04 A-05 A-06 A-07 A-08 A-09 A-10 A-11 A-12 A-13 A-14 A-15 A-16 A-17 A-30 A-31 A-32 A-33 A-34
     D-01 D-02 D-03 D-04 D-05 D-06 D-07 D-08 D-09 D-10 D-11 D-12
8    J-01 J-02 J-03 J-04 J-05 J-06 -J-07 J-20 J-21 J-22 J-23 J-24 J-25 J-26
`

// lines parses the list.
func lines() map[string]line {
	out := map[string]line{}
	for word := range strings.FieldsSeq(contract) {
		id, nice := strings.CutPrefix(word, "-")
		if strings.Contains(id, "-") {
			out[id] = line{id: id, needed: !nice}
		}
	}
	return out
}
