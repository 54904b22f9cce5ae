"""The card registry: persons and their cards, sealed; the life of a card; what a card read must prove."""
