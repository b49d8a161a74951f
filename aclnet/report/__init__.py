"""Report of runs: what is gathered from their files, the page in HTML, and figures for papers."""
