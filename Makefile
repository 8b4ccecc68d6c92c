# Thin over scripts/, which do the work on machines without make too.
.PHONY: demo test bench
demo:
	@scripts/demo
test:
	@scripts/test
bench:
	@scripts/bench
