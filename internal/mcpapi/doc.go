// Package mcpapi answers language models over the Model Context Protocol: the tools of Tempo 3's MCP endpoint (P-01)
// as questions to query.Service, and the documentation of TraceQL that a model needs to ask them.
//
// API is an http.Handler for one path. It speaks the streamable HTTP transport of the official SDK without sessions:
// each POST is one message with one JSON answer, so nothing is kept between requests and nothing has to be cleaned up.
// It only reads. It is safe for concurrent use.
//
// # Answers
//
// A tool's answer is one text with JSON in it, made for reading: hex ids, RFC 3339 times, durations in milliseconds,
// attributes as plain objects. It has at most maxAnswer bytes before JSON-RPC wraps it. What does not fit is left out
// element by element (traces, spans, series, values) and the field truncated says so, next to partial and missingNodes,
// which say what the query service could not read.
//
// # Errors
//
// What is wrong with a question, and a question that could not be answered, is the result of a tool with isError set, as
// the protocol wants it: the model reads the text and asks again. What is wrong with a message is a JSON-RPC error or an
// HTTP status.
package mcpapi
