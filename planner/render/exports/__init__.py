"""Results as files of other programs' formats: Markdown, JUnit XML, SARIF."""
