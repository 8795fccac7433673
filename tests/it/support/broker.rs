//! A namespace of its own on the RabbitMQ server.
