"""The page of an assessment: a folder that opens in a browser from disk, without a server or a network."""
