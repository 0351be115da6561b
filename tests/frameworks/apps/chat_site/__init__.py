"""The chat of Channels' tutorial as it stands at its end; its synchronous consumer is there beside the asynchronous."""
