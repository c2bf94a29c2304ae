"""Pictures, gallery, page."""
