"""Rules, classifiers and verdicts. Knows no database, no web and nothing else of Zoetrope."""
