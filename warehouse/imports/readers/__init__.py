"""One reader a format of evaluation results. A reader turns files into graded answers; what they then must satisfy,
and how they come into the lake, is the same for all of them (`warehouse/imports`).

A format of your own is a class like `Reader`, which a package names under the entry point `embedllm.importers`.
"""
