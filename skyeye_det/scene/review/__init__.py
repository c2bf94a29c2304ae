"""What people say of the buildings of an assessment, kept in its GeoPackage."""
