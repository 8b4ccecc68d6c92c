# Thin over scripts/, which do the work on machines without make too.
.PHONY: demo demo-cluster test bench
demo:
	@scripts/demo
demo-cluster:
	@scripts/demo-cluster
test:
	@scripts/test
bench:
	@scripts/bench
