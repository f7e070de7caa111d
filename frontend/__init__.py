"""The web app: pages, components, thin states, and one door to the use cases (gateway)."""
