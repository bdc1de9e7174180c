# A FastAPI app for one customer. It has never heard of tenants.
import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

app = FastAPI(title="An app for one customer")
visits_file = Path(os.environ.get("DATA_DIR", ".")) / "visits"
count = 0

class Person(BaseModel):
    name: str

@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "hello from fastapi\n"

@app.get("/health")
async def health():
    return {"status": "ok"}

@app.get("/count")
async def count_up():
    """How often it was asked. In memory: a doze keeps it, a new process starts at 1."""
    global count
    count += 1
    return {"count": count}

@app.get("/visits")
async def visit():  # async: one at a time, so that nobody counts in between
    """How often it was asked. In DATA_DIR: that stays."""
    visits = int(visits_file.read_text()) + 1 if visits_file.exists() else 1
    new = visits_file.with_suffix(".new")
    new.write_text(str(visits))
    new.replace(visits_file)  # the old file is whole until the new one is
    return {"visits": visits}

@app.get("/headers")
async def headers(request: Request):
    """The request's headers as they arrived, Authorization included."""
    return dict(request.headers)

@app.post("/greet")
async def greet(person: Person):
    """FastAPI has looked at the body: anything but a name is answered with 422."""
    return {"hello": person.name}
