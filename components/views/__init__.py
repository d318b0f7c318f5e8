"""Item views: relations, pictures, sounds, numbers and labels as a vector and words for each item."""
