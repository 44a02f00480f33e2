package column

import "strconv"

func (f *File) readGroup(r *thriftReader, cols int) {
	f.groups = append(f.groups, group{})
	g := &f.groups[len(f.groups)-1]
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == thriftList:
			n, elem := r.listLen()
			if elem != thriftStruct || n != cols || g.chunks != nil {
				r.fail()
				return
			}
			g.chunks = make([]chunk, n)
			for i := range g.chunks {
				readChunk(r, &g.chunks[i])
			}
		case id == 3 && typ == thriftI64:
			g.rows = int(r.size(1 << 31))
		default:
			r.skip(typ)
		}
	})
	if len(g.chunks) != cols {
		r.fail()
	}
}

func readChunk(r *thriftReader, c *chunk) {
	const limit = 1 << 50
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 3 && typ == thriftStruct:
			readChunkMeta(r, c)
		case id == 4 && typ == thriftI64:
			c.offsetIndex[0] = r.size(limit)
		case id == 5 && typ == thriftI32:
			c.offsetIndex[1] = r.size(limit)
		case id == 6 && typ == thriftI64:
			c.columnIndex[0] = r.size(limit)
		case id == 7 && typ == thriftI32:
			c.columnIndex[1] = r.size(limit)
		default:
			r.skip(typ)
		}
	})
}

func readChunkMeta(r *thriftReader, c *chunk) {
	const limit = 1 << 50
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 2 && typ == thriftList:
			n, _ := r.listLen()
			for i := range n {
				if e := r.size(255); i == 0 {
					c.encoding = Encoding(e)
				}
			}
		case id == 4 && typ == thriftI32:
			c.codec = Codec(r.size(255))
		case id == 5 && typ == thriftI64:
			c.values = int(r.size(1 << 31))
		case id == 6 && typ == thriftI64:
			c.rawBytes = int(r.size(limit))
		case id == 7 && typ == thriftI64:
			c.size = r.size(limit)
		case id == 8 && typ == thriftList:
			readChunkKeys(r, c)
		case id == 9 && typ == thriftI64:
			c.dataOffset = r.size(limit)
		case id == 11 && typ == thriftI64:
			c.dictOffset = r.size(limit)
		case id == 12 && typ == thriftStruct:
			r.structure(func(id int16, typ byte) {
				if id == 3 && typ == thriftI64 {
					c.nulls = int(r.size(1 << 31))
					return
				}
				r.skip(typ)
			})
		case id == 14 && typ == thriftI64:
			c.bloomOffset = r.size(limit)
		case id == 15 && typ == thriftI32:
			c.bloomLen = int(r.size(maxPageRaw))
		default:
			r.skip(typ)
		}
	})
}

func readChunkKeys(r *thriftReader, c *chunk) {
	n, elem := r.listLen()
	if elem != thriftStruct {
		r.fail()
		return
	}
	for range n {
		var key, value string
		r.structure(func(id int16, typ byte) {
			switch {
			case id == 1 && typ == thriftBinary:
				key = string(r.bytes())
			case id == 2 && typ == thriftBinary:
				value = string(r.bytes())
			default:
				r.skip(typ)
			}
		})
		if key == bloomCRCKey {
			v, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				r.fail()
			}
			c.bloomCRC = uint32(v)
		}
	}
}
