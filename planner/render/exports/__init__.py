"""Results as files of other programs: Markdown, JUnit XML, SARIF, requests of schedulers."""
