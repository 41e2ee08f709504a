"""What readers and scanners must do, as checks: tests hold simulated ones to it, shops their real ones."""
