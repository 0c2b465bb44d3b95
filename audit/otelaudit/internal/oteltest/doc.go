// Package oteltest tries otelaudit with what it must not require: the OpenTelemetry SDK and its exporters, otelhttp, and
// a real Prometheus. It is a module of its own, so that none of them is in the go.sum of who imports otelaudit.
package oteltest
