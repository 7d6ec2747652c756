"""One value of a scalar type: from what people have to what the wire carries, exactly or not at all."""
