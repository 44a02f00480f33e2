// Package mixed asks a running binary from many clients while spans arrive at a fixed rate, and checks every answer
// against what was sent: acknowledged spans must be in it, spans that were never sent must not, and no request may fail.
//
// sender.go sends and remembers; checks.go has the questions and what must hold of their answers; run.go runs both and
// sums up. Run owns all goroutines and ends them before it returns.
package mixed
