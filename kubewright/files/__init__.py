"""Files, trees and archives: digests of them, safe ways in and normalised ways out. Knows nothing of recipes or networks."""
