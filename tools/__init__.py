"""Command-line tools: conversion, benchmarks, plots."""
