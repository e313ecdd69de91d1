# SPDX-License-Identifier: Apache-2.0
# Everything runs from .venv, which `setup` makes and then leaves alone: no ROS installation, nothing to source.
# On a machine with ROS 2 sourced, use `colcon build` instead (README.md).

BIN := .venv/bin
SETUP := python3 tools/setup_venv.py
export PYTHON SOURCE QUESTION BAG MINUTES EXECUTIONS

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-world demo evaluate bench chaos soak fuzz test lint format clean clean-venv

help:
	@echo 'edgeVLM for ROS 2: a small VLM on the robot answers every frame, a large one in the cloud corrects it.'
	@echo
	@echo '  make demo     the bundled bag through the real graph: report in runs/demo/report.html'
	@echo '                SOURCE=PATH        your own rosbag2 folder, video file or folder of images'
	@echo '                QUESTION="..."     what to ask about it'
	@echo '  make evaluate how much context transfer helps, at every delay, against every alternative: runs/evaluate/report.html'
	@echo '                BAG=PATH           your own rosbag2 instead of the rendered test streams; QUESTION as above'
	@echo '  make bench    how fast frames are answered, stage by stage, in 20 minutes: runs/bench/bench.json and a table'
	@echo '  make chaos    every fault of cloud, network, camera and process against the real graph: runs/chaos/chaos.json, a plot'
	@echo '  make soak     half an hour of a life on a robot, and what of it does not come back: runs/soak/soak.json, a plot'
	@echo '                MINUTES=480        over night'
	@echo '  make fuzz     what reads from outside, against inputs that nobody thought of: runs/fuzz/fuzz.json and a table'
	@echo '                EXECUTIONS=10000   of each target, instead of a million'
	@echo '  make test     linters, type checker and all tests'
	@echo '  make lint     the linters and the type checker alone; `make format` puts the layout right'
	@echo '  make setup    only make .venv (Python 3.11 or 3.12, gcc and cmake needed); PYTHON=... names one'
	@echo '  make clean    remove runs/ and what was built; `make clean-venv` also removes .venv'
	@echo
	@echo '  The rendered world and the training of the bundled models: `make setup-world`, then .venv/bin/edgevlm world --help'

setup:
	@$(SETUP)

setup-dev:
	@$(SETUP) dev world

setup-world:
	@$(SETUP) world

demo: setup
	@$(BIN)/edgevlm demo $${SOURCE:+--source "$$SOURCE"} $${QUESTION:+--question "$$QUESTION"}

# streams that are whole already are not rendered again
evaluate: setup
	@[ -n "$$BAG" ] || { $(SETUP) world && $(BIN)/edgevlm world streams --split test; }
	@$(BIN)/edgevlm evaluate $${BAG:+"$$BAG"} $${QUESTION:+--question "$$QUESTION"}

bench: setup
	@$(BIN)/edgevlm bench

chaos: setup
	@PYTHONPATH=test $(BIN)/python -m chaos

soak: setup
	@PYTHONPATH=test $(BIN)/python -m soak $${MINUTES:+--minutes "$$MINUTES"}

fuzz:
	@$(SETUP) fuzz
	@PYTHONPATH=test $(BIN)/python -m fuzz $${EXECUTIONS:+--executions "$$EXECUTIONS"}

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf runs build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis

clean-venv: clean
	rm -rf .venv
