"""Console and engine as processes: started, attached to, left, and outliving their terminal."""
