"""A phone's screen as a till's camera sees it: rendering, distortions, and ways to show the picture."""
