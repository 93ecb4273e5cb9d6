"""Words that a test and the process that it starts agree on."""

FILES = "CIDGATE_TEST_FILES"
