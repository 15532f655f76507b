//! notify_socket.
