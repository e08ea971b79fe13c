"""The queue lane on real suites: fairness, balance, growth, what jobs leave behind, what the leader costs."""
