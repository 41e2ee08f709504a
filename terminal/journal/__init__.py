"""Payment attempts on disk, written and synced before they are sent."""
