A client learns by OPTIONS what a recipient's client can, answers OPTIONS with its own capabilities, and chooses large message or session mode by that.
