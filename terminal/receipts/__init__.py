"""What a payer takes home: the answer to a payment as text, as a picture, and on paper.

content.py   what a receipt says, in every language at once
text.py      as lines of characters, for screens and for till software
raster.py    as a picture with Chinese, English and a QR code
fonts.py     which fonts this machine has
printer.py   the picture on an ESC/POS printer
"""
