"""A GraphQL schema over Strawberry's ASGI application: a query, a mutation, and subscriptions that it publishes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import strawberry
from strawberry.asgi import GraphQL

QUEUES: set[asyncio.Queue[str]] = set()


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "you") -> str:
        return f"Hello, {name}!"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def post(self, text: str) -> int:
        """Give a text to everyone who has subscribed to posts."""
        for queue in QUEUES:
            queue.put_nowait(text)
        return len(QUEUES)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def posts(self, mark: str) -> AsyncGenerator[str, None]:
        queue = asyncio.Queue[str]()
        QUEUES.add(queue)
        print(f"subscribed {mark}")
        try:
            while True:
                yield await queue.get()
        finally:
            QUEUES.discard(queue)
            print(f"ended {mark}")

    @strawberry.subscription
    async def broken(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError("the subscription broke")


app = GraphQL[None, None](strawberry.Schema(Query, Mutation, Subscription))
