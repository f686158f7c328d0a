//! The whole product, driven from outside by clients that nobody here wrote.
