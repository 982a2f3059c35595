"""Set-up between parties that do not trust each other: signed documents, and what each party does with them.

roster      who takes part, under which identity key
envelope    a signed document
messages    what the documents hold
mailbox     how they travel: a folder, or anything else that keeps them
board       what was said, and by whom twice
signing     a MuSig2 session from messages, restarts and bad contributions included
sessions    deposits and instances, as far as what was said makes them
payouts     payouts that the whole committee agrees to
party       what one party says next
survey      how far every deposit is
"""
