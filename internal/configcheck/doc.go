// Package configcheck judges a Collector configuration further than `validate` does, without running it. In this order:
//
//  1. it is read, parsed, expanded and unmarshalled, which finds bad YAML, duplicate keys, unknown components and fields;
//  2. components validate their settings;
//  3. all pipelines and extensions are created (not started), which finds what only constructors check;
//  4. files of TLS settings are loaded, wherever they are in the settings;
//  5. addresses to listen on are bound for a moment, unless the running process has them already;
//  6. our own components check what else they need (Checker).
//
// Nothing is started, nothing is written except a file that is removed at once, and nobody on the network is asked, except
// by providers of remote configuration.
package configcheck
