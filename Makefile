# Thin over scripts/, which do the work on machines without make too.
.PHONY: demo demo-cluster test test-repeat bench
demo:
	@scripts/demo
demo-cluster:
	@scripts/demo-cluster
test:
	@scripts/test
test-repeat:
	@RUNS="$(or $(RUNS),10)" LOAD="$(or $(LOAD),2)" scripts/test-repeat
bench:
	@scripts/bench
