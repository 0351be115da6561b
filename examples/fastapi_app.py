"""A FastAPI application: validated parameters, a JSON body, a blocking view, an upload.

    server examples.fastapi_app:app

Needs ``pip install fastapi python-multipart``. Its interactive documentation is at http://127.0.0.1:8000/docs.
"""

# No `from __future__ import annotations`: FastAPI reads the annotations, and these are objects, not text.

import threading
from typing import Annotated

from fastapi import FastAPI, UploadFile
from pydantic import BaseModel, Field

app = FastAPI(title="daphne-clone example")


class Order(BaseModel):
    """The JSON body of ``POST /orders``."""

    item: str
    count: Annotated[int, Field(gt=0)] = 1


@app.get("/")
async def home(name: str = "world") -> dict[str, str]:
    return {"message": f"Hello, {name}!"}


@app.post("/orders", status_code=201)
async def create_order(order: Order) -> Order:
    return order


@app.get("/blocking")
def blocking() -> dict[str, bool]:
    """A plain function: FastAPI runs it in a thread, so it may block."""
    return {"on_main_thread": threading.current_thread() is threading.main_thread()}


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, str | int | None]:
    return {"name": file.filename, "size": file.size}
