# make         builds the module for the installed nginx
# make demo    a private bucket behind nginx, to look at (ONCE=1: show it and exit;
#              AUTH=sigv4: signed requests, not a secret header)
# make test    all tests (T="tests/test_wire.py -k slice" for some of the second half)
#
# NGINX_SOURCE_DIR and NGINX_BUILD_DIR: a configured nginx tree to build against instead.

MODULE := target/release/libngx_http_s3_private_bucket_module.so
PYTHON := target/venv/bin/python

ifeq ($(NGINX_BUILD_DIR),)
export NGINX_SOURCE_DIR := $(CURDIR)/target/nginx/src
export NGINX_BUILD_DIR := $(CURDIR)/target/nginx/objs
# A new nginx-dev is configured anew.
TREE := target/nginx/.configured-$(shell dpkg-query -W -f '$${Version}' nginx-dev 2>/dev/null)
endif

# Set-up comes before everything else.
.NOTPARALLEL:
.PHONY: all setup test demo lint clean
all: $(TREE)
	cargo build --release --locked

setup:
	tests/setup.sh

$(TREE): tests/nginx-tree.sh | setup
	tests/nginx-tree.sh target/nginx
	touch $@

test: setup all
	cargo test --locked
	$(PYTHON) -m pytest -q $(or $(T),tests)

demo: setup all
	$(PYTHON) tests/demo.py $(if $(ONCE),--once) $(if $(AUTH),--auth $(AUTH))

lint: $(TREE)
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

clean:
	rm -rf target
