"""The catalog: configs of published models, by the names they have on the Hugging Face hub."""
