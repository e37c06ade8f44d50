"""How an LMDB is made of images, inspected, and averaged."""
