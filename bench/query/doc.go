// Command query measures what queries cost: it fills a Bramble binary with the reference workload, asks each query of
// its table a number of times over HTTP, and prints the latency, the server's CPU time per query, and the number of
// hits beside the number that the generator knows to be true. There is no result cache to help.
//
// With -clients N it asks from many clients at once instead, while spans arrive at -rate, checks every answer against
// what was acknowledged, and prints the latencies by kind of question.
package main
