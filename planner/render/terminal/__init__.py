"""Reports: from an Estimate to what is shown. Nothing here prints."""
