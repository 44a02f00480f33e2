// Package retain decides which parts of a store go, by age, size and free disk. It is pure: descriptions in, a list out.
package retain
