package rings

// shape is who follows whom. Every shape ends in one stage.
type shape struct {
	name      string
	producers int
	stages    [][]int // those that each stage follows; none: the producers
	hops      int     // stages one after another
}

var shapes = []*shape{
	{name: "one-to-one", producers: 1, stages: [][]int{nil}, hops: 1},
	{name: "three-stages", producers: 1, stages: [][]int{nil, {0}, {1}}, hops: 3},
	{name: "three-to-one", producers: 3, stages: [][]int{nil}, hops: 1},
	{name: "diamond", producers: 1, stages: [][]int{nil, nil, {0, 1}}, hops: 2},
}

// Shapes are the names of the shapes that can be compared.
func Shapes() []string {
	var names []string
	for _, s := range shapes {
		names = append(names, s.name)
	}
	return names
}

// edges makes one queue for each arrow of the shape: from the producers to
// each stage that follows them, and from stage to stage.
func edges[E any](s *shape, mk func() E) (heads []E, ins, outs [][]E) {
	ins, outs = make([][]E, len(s.stages)), make([][]E, len(s.stages))
	for i, follows := range s.stages {
		if len(follows) == 0 {
			e := mk()
			heads, ins[i] = append(heads, e), append(ins[i], e)
		}
		for _, up := range follows {
			e := mk()
			outs[up], ins[i] = append(outs[up], e), append(ins[i], e)
		}
	}
	return heads, ins, outs
}
