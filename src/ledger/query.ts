/** What can be asked of a ledger, and how it is spelled for the store. */
