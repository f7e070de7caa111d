"""Images that the composer sends ahead of the job."""

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from backend.api.dependencies import StudioDep, Writer
from backend.api.input_reference import reader_of
from backend.api.limits import coarse_limit
from backend.api.parse_bodies import parse_body
from backend.domain.errors import InvalidField
from backend.services.accept_upload import accept_upload

router = APIRouter(tags=["uploads"], dependencies=[Depends(coarse_limit)])

_DOCS = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class UploadOut(BaseModel):
    """An image that a job can name as `input_reference[file_id]`."""

    id: str
    width: int
    height: int
    size_bytes: int


@router.post("/uploads", status_code=201, openapi_extra=_DOCS)
async def upload_image(request: Request, studio: StudioDep, principal: Writer) -> UploadOut:
    """Take a PNG, JPEG or WebP image."""
    fields = await parse_body(request)
    try:
        file = fields.files.get("file")
        if file is None:
            raise InvalidField("Send the image as the form's field `file`.", param="file")
        declared = (file.content_type or "").partition(";")[0].strip().lower()
        view = await accept_upload(studio, principal, reader_of(file, param="file"), declared_type=declared)
    finally:
        await fields.close()
    return UploadOut(id=view.id, width=view.width, height=view.height, size_bytes=view.size_bytes)
