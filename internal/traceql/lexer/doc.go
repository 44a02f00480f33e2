// Package lexer cuts the text of a TraceQL query into tokens (contract 4.1).
//
// What makes it unusual is that attribute names end only at white space and a few characters (L-06), so that .foo-bar
// is one name, and that parts of them can be quoted (L-07). Therefore scope prefixes and names are recognised
// here: an attribute is one token, and so is a scoped intrinsic. Everything else is left to the parser, keywords
// included, because they are ordinary words as names (L-08).
//
// A Lexer never fails half-way: the token that cannot be read has Kind Invalid, carries the reason, and ends where
// reading can go on, which is what the lenient parser of the tag endpoints needs (G-20). Positions are lines and
// columns in characters, both from 1 (L-50).
package lexer
