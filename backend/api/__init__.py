"""HTTP: parse at the edge, ask a use case, render. No rule of the product lives here."""
